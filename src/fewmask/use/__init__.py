"""One finished model: class probabilities, predictions as files, scores, and pictures of what it sees."""
