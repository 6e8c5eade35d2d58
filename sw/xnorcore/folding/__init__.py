"""From trained parameters to integer thresholds, exactly."""
