"""An explanation in words: the sentence, the reasons, the text."""
