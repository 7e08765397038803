output "inventory" {
  description = "The nodes as one document; its form is versioned."
  value = {
    schema         = 1
    module_version = local.module_version
    cluster        = var.cluster
    elastic_ip     = var.elastic_ip
    nodes = {
      for name, node in aws_instance.node : name => {
        role            = node.tags["productive-k3s/role"]
        instance_id     = node.id
        instance_type   = node.instance_type
        state           = node.instance_state
        image_id        = node.ami
        root_gb         = node.root_block_device[0].volume_size
        private_address = node.private_ip
        public_address  = var.elastic_ip ? aws_eip.node[name].public_ip : node.public_ip
      }
    }
  }
}

output "addresses" {
  description = "By node: the public address where it has one, else the private one."
  value = {
    for name, node in aws_instance.node : name => coalesce(
      var.elastic_ip ? aws_eip.node[name].public_ip : node.public_ip, node.private_ip,
    )
  }
}

output "security_group_id" {
  description = "The nodes' security group, for rules of your own that name it as their source."
  value       = aws_security_group.nodes.id
}

output "key_name" {
  description = "The key pair that the nodes were made with."
  value       = var.key_pair != null ? data.aws_key_pair.given[0].key_name : one(aws_key_pair.operator[*].key_name)
}

output "network" {
  description = "The VPC and the subnet that the nodes are made in."
  value       = { vpc_id = local.vpc_id, subnet_id = local.subnet_id }
}
