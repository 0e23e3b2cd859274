"""Views and cuts where another order of the elements was meant."""
