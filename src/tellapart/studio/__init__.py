"""The browser app: browse, relabel, review, results, threshold and try."""
