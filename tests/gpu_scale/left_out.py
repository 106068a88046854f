"""Cells that a fake GPU cannot run, each with its reason: page, cell id, why. One that runs after all is a mistake."""

CELLS = {
    "09_training_loop": {
        "search-importance": "all that is read is 1, so every trial ends alike and no setting explains a difference",
    },
}
