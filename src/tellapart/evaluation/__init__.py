"""From predictions to figures with intervals, curves and a report. No model, no torch."""
