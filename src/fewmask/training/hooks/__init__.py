"""What happens around the steps of a training: journal, validation, checkpoints, feature picture, alarms."""
