"""The pages of docs/results: templates (*.md) and, in modules beside them, the values that they name."""
