"""How a model is built: what it registers, shares and makes anew."""
