"""An exact tabular plan-execute problem: the ground truth that estimators are measured against."""
