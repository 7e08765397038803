"""The cluster directory beside the cluster file: inventory, journal, lock, kubeconfig."""
