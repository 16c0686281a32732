"""What a method is given and what it gives back."""
