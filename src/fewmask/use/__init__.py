"""What a finished model gives: class probabilities, predictions as files, scores, and pictures of its features."""
