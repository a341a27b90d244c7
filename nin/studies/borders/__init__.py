"""Where a network's phases end: searched for, predicted, and compared over grids."""
