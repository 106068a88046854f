"""Publishing: the notebooks as slides and as a site that needs no network."""
