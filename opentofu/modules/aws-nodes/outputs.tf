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
