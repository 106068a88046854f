"""Release: the notebooks as they are handed out, with empty holes, points and no solution in them."""
