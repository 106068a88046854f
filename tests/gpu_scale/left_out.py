"""Cells that a fake GPU cannot run, each with its reason: page, cell id, why. One that runs after all is a mistake."""

CELLS = {}
