"""What earlier rules say of a failure: whom they name.

They are one voice among others: `generate.ruled` makes hypotheses of whom they name,
and `evidence.ruled` a fact. A rule goes once generators and evidence of
the general kind say the same.
"""
