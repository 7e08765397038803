"""The provider `aws`: instances of Amazon EC2, made by OpenTofu with the module `aws-nodes`."""
