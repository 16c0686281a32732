"""What the face of the package does and the command line calls: studies, rankings and searches from end to end."""
