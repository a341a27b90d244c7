"""What the book's pages call: parameters of pages, figures, the explorer, and the claims."""
