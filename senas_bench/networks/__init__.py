"""What networks of all spaces share: operations, copies of weights, expansion, and loops in C."""
