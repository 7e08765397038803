terraform {
  # 1.10 for OpenTofu; Terraform 1.11 understands the same.
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0, < 7.0.0"
    }
  }
}
