# One server in the region's default VPC, reached from one address.

terraform {
  required_version = ">= 1.10.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100.0, < 7.0.0"
    }
  }
}

provider "aws" {
  region = var.region
}

variable "region" {
  description = "The region in which the node is made."
  type        = string
  default     = "eu-central-1"
}

variable "my_address" {
  description = "The address from which SSH and the API are reached, without a prefix length."
  type        = string
}

variable "public_key_file" {
  description = "The public SSH key that the node lets in."
  type        = string
  default     = "~/.ssh/id_ed25519.pub"
}

module "nodes" {
  source = "../.."

  cluster       = "edge"
  public_key    = file(pathexpand(var.public_key_file))
  allowed_cidrs = { ssh = ["${var.my_address}/32"], api = ["${var.my_address}/32"] }
  elastic_ip    = true

  nodes = {
    server-1 = { role = "server" }
  }
}

output "address" {
  description = "Where the node answers."
  value       = module.nodes.addresses["server-1"]
}
