locals {
  owner_canonical = "099720109477"
  module_version  = "1.0.0"

  own_network = var.vpc_id != null
  vpc_id      = local.own_network ? data.aws_vpc.given[0].id : data.aws_vpc.default[0].id
  subnet_id   = local.own_network ? data.aws_subnet.given[0].id : sort(data.aws_subnets.default[0].ids)[0]

  tags = merge(var.tags, {
    "productive-k3s/cluster" = var.cluster
  })

  ports = { ssh = 22, api = 6443, http = 80, https = 443 }
  cidrs = {
    ssh   = var.allowed_cidrs.ssh
    api   = var.allowed_cidrs.api
    http  = var.allowed_cidrs.http
    https = var.allowed_cidrs.http
  }
}

data "aws_vpc" "default" {
  count   = local.own_network ? 0 : 1
  default = true
}

data "aws_subnets" "default" {
  count = local.own_network ? 0 : 1

  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default[0].id]
  }

  filter {
    name   = "default-for-az"
    values = ["true"]
  }

  lifecycle {
    postcondition {
      condition     = length(self.ids) > 0
      error_message = "aws.no-subnet: the default VPC of this region has no subnet; say vpc_id and subnet_id."
    }
  }
}

data "aws_vpc" "given" {
  count = local.own_network ? 1 : 0
  id    = var.vpc_id
}

data "aws_subnet" "given" {
  count = local.own_network ? 1 : 0
  id    = var.subnet_id

  lifecycle {
    precondition {
      condition     = var.subnet_id != null
      error_message = "aws.network: vpc_id and subnet_id belong together: say both or neither."
    }

    postcondition {
      condition     = self.vpc_id == var.vpc_id
      error_message = "aws.network: the subnet ${var.subnet_id == null ? "" : var.subnet_id} is not in the VPC ${var.vpc_id}."
    }
  }
}

# A list may be empty where the resource itself fails without words of ours; sorted, the newest is last.
data "aws_ami_ids" "ubuntu" {
  count          = var.image_id == null ? 1 : 0
  owners         = [local.owner_canonical]
  sort_ascending = true

  filter {
    name   = "name"
    values = ["ubuntu/images/hvm-ssd*/ubuntu-noble-24.04-${var.architecture}-server-*"]
  }

  filter {
    name   = "state"
    values = ["available"]
  }

  lifecycle {
    postcondition {
      condition     = length(self.ids) > 0
      error_message = "aws.no-image: this region has no Ubuntu 24.04 image for ${var.architecture} of Canonical; say image_id, or another region."
    }
  }
}

data "aws_key_pair" "given" {
  count    = var.key_pair == null ? 0 : 1
  key_name = var.key_pair
}

resource "aws_key_pair" "operator" {
  count           = var.key_pair == null ? 1 : 0
  key_name        = var.key_name
  key_name_prefix = var.key_name == null ? "${var.cluster}-" : null
  public_key      = var.public_key
  tags            = local.tags

  lifecycle {
    # Living nodes have the key that they were made with; another one is put there by hand.
    ignore_changes = [public_key]

    precondition {
      condition     = var.public_key != null
      error_message = "aws.key-pair: say public_key, or key_pair, the name of a key pair that exists."
    }
  }
}

# The rules stand in the group itself: one that somebody has added by hand is seen, and goes.
resource "aws_security_group" "nodes" {
  name_prefix = "${var.cluster}-"
  description = "Nodes of ${var.cluster}"
  vpc_id      = local.vpc_id
  tags        = merge(local.tags, { Name = var.cluster })

  dynamic "ingress" {
    for_each = { for name, cidrs in local.cidrs : name => cidrs if length(cidrs) > 0 }

    content {
      description      = ingress.key
      protocol         = "tcp"
      from_port        = local.ports[ingress.key]
      to_port          = local.ports[ingress.key]
      cidr_blocks      = [for cidr in ingress.value : cidr if !strcontains(cidr, ":")]
      ipv6_cidr_blocks = [for cidr in ingress.value : cidr if strcontains(cidr, ":")]
    }
  }

  ingress {
    description = "nodes among each other"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    self        = true
  }

  egress {
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  lifecycle {
    precondition {
      condition     = var.subnet_id == null || var.vpc_id != null
      error_message = "aws.network: vpc_id and subnet_id belong together: say both or neither."
    }
  }
}

resource "aws_instance" "node" {
  for_each = var.nodes

  ami                         = var.image_id != null ? var.image_id : reverse(data.aws_ami_ids.ubuntu[0].ids)[0]
  instance_type               = each.value.instance_type
  key_name                    = var.key_pair != null ? data.aws_key_pair.given[0].key_name : aws_key_pair.operator[0].key_name
  subnet_id                   = local.subnet_id
  private_ip                  = each.value.private_ip
  vpc_security_group_ids      = [aws_security_group.nodes.id]
  associate_public_ip_address = var.public_ip

  user_data = join("\n", ["#cloud-config", yamlencode(merge(
    {
      hostname          = each.key
      preserve_hostname = false
      # The names of a cluster may be kept in /etc/hosts: cloud-init must not write it anew at each boot.
      manage_etc_hosts = false
    },
    { for name, key in var.host_keys : "ssh_keys" => { ed25519_private = key } if name == each.key },
    { for name, key in var.host_keys : "ssh_genkeytypes" => [] if name == each.key },
  )), ""])

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = each.value.root_gb
    encrypted             = true
    delete_on_termination = true
    tags                  = merge(local.tags, { Name = "${var.cluster}-${each.key}" })
  }

  tags = merge(local.tags, {
    Name                  = "${var.cluster}-${each.key}"
    "productive-k3s/node" = each.key
    "productive-k3s/role" = each.value.role
  })

  lifecycle {
    # A living node is never replaced or restarted because the catalogue, the key or the words of this module have
    # changed. An Elastic IP, once associated, looks like a public address of the instance.
    ignore_changes = [ami, user_data, user_data_base64, key_name, associate_public_ip_address, subnet_id]
  }
}

# Starts a node that was stopped; what is not named here stays as it is.
resource "aws_ec2_instance_state" "node" {
  for_each = toset([for name in var.running : name if contains(keys(var.nodes), name)])

  instance_id = aws_instance.node[each.key].id
  state       = "running"
}

resource "aws_eip" "node" {
  for_each = var.elastic_ip ? var.nodes : {}

  domain   = "vpc"
  instance = aws_instance.node[each.key].id
  tags     = merge(local.tags, { Name = "${var.cluster}-${each.key}", "productive-k3s/node" = each.key })
}

check "open_to_the_world" {
  assert {
    condition = length(setintersection(
      concat(var.allowed_cidrs.ssh, var.allowed_cidrs.api), ["0.0.0.0/0", "::/0"],
    )) == 0
    error_message = "SSH or the API can be reached from everywhere (0.0.0.0/0 or ::/0), as it is written in allowed_cidrs."
  }
}
