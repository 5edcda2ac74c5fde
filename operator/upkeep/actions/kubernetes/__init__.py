"""What a step can do to workloads of the cluster, as the ServiceAccount that its task names."""
