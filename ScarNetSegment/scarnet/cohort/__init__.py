"""Many patients: found, segmented, measured and tabled, on one machine or a cluster, and taken up again after any end."""
