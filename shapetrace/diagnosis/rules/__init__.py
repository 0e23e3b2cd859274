"""What earlier rules say of a failure: whom they name, and what they propose.

They are one voice among others: `generate.ruled` makes hypotheses of their proposals,
`evidence.ruled` a fact of whom they name. A rule goes once generators and evidence of
the general kind say the same.
"""
