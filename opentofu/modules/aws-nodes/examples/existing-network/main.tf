# A server and three agents in a subnet that exists, without public addresses: they are reached from inside, or over a VPN.

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
  region = "eu-central-1"
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_id" {
  description = "A subnet of it whose nodes reach the internet through a NAT gateway, or a mirror of your own."
  type        = string
}

variable "key_pair" {
  description = "A key pair that exists in the region."
  type        = string
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

locals {
  agents = [for number in range(1, 4) : "agent-${number}"]
}

module "nodes" {
  source = "../.."

  cluster       = "edge"
  key_pair      = var.key_pair
  vpc_id        = var.vpc_id
  subnet_id     = var.subnet_id
  public_ip     = false
  allowed_cidrs = { ssh = [data.aws_vpc.this.cidr_block], api = [data.aws_vpc.this.cidr_block] }

  nodes = merge(
    { server-1 = { role = "server" } },
    { for name in local.agents : name => { role = "agent", instance_type = "t3a.large", root_gb = 40 } },
  )
}

# A database of your own lets the nodes in by their group, whatever their addresses are.
resource "aws_security_group" "database" {
  name_prefix = "edge-database-"
  description = "PostgreSQL for the nodes of edge"
  vpc_id      = module.nodes.network.vpc_id

  ingress {
    description     = "PostgreSQL from the nodes"
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
    security_groups = [module.nodes.security_group_id]
  }
}

output "addresses" {
  description = "Where the nodes answer, inside the VPC."
  value       = module.nodes.addresses
}
