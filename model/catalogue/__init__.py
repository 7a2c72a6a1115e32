"""What the shipped presets are good for, what they need (by formula, from their geometry), and what they take here (by measurement)."""
