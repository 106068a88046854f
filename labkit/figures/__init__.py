"""Pictures of the course: one module per topic, each `draw_x(arrays…, ax=None) -> Axes`; `style` is their common look."""
