# Runs with a mock of the provider: no account, no network. `tofu test` in the module's folder.

mock_provider "aws" {
  mock_data "aws_subnets" {
    defaults = { ids = ["subnet-b", "subnet-a"] }
  }

  mock_data "aws_subnet" {
    defaults = { vpc_id = "vpc-mine" }
  }

  mock_data "aws_ami_ids" {
    defaults = { ids = ["ami-old", "ami-new"] }
  }
}

variables {
  cluster       = "edge"
  nodes         = { server-1 = { role = "server" } }
  allowed_cidrs = { ssh = ["203.0.113.7/32"], api = ["203.0.113.0/24"] }
  public_key    = "ssh-ed25519 AAAA operator"
}

run "one_node" {
  command = plan

  assert {
    condition     = aws_instance.node["server-1"].ami == "ami-new"
    error_message = "the newest image"
  }

  assert {
    condition = alltrue([
      aws_instance.node["server-1"].metadata_options[0].http_tokens == "required",
      aws_instance.node["server-1"].metadata_options[0].http_put_response_hop_limit == 1,
    ])
    error_message = "IMDSv2 only, and not from pods"
  }

  assert {
    condition = alltrue([
      aws_instance.node["server-1"].root_block_device[0].encrypted,
      aws_instance.node["server-1"].root_block_device[0].volume_type == "gp3",
      aws_instance.node["server-1"].root_block_device[0].volume_size == 80,
    ])
    error_message = "an encrypted gp3 root"
  }

  assert {
    condition     = aws_instance.node["server-1"].subnet_id == "subnet-a"
    error_message = "the default VPC's first subnet"
  }

  assert {
    condition = toset([for rule in aws_security_group.nodes.ingress : "${rule.from_port} ${try(join(",", rule.cidr_blocks), "")} ${coalesce(rule.self, false)}"]) == toset([
      "22 203.0.113.7/32 false", "6443 203.0.113.0/24 false", "0  true",
    ])
    error_message = "what is written is open, and nothing else"
  }

  assert {
    condition     = length(aws_eip.node) == 0
    error_message = "no Elastic IP unless asked for"
  }

  assert {
    condition     = !strcontains(aws_instance.node["server-1"].user_data, "ssh_keys")
    error_message = "without a key given to it a node makes its own"
  }
}

run "seeded_and_open_to_browsers" {
  command = plan

  variables {
    nodes         = { server-1 = { role = "server", private_ip = "10.0.0.11" }, agent-1 = { role = "agent", instance_type = "t4g.large", root_gb = 40 } }
    allowed_cidrs = { ssh = ["203.0.113.7/32"], api = ["2001:db8::/32"], http = ["0.0.0.0/0"] }
    host_keys     = { server-1 = "PRIVATE" }
    elastic_ip    = true
    architecture  = "arm64"
  }

  assert {
    condition     = yamldecode(nonsensitive(aws_instance.node["server-1"].user_data)).ssh_keys.ed25519_private == "PRIVATE"
    error_message = "the host key that was given"
  }

  assert {
    condition     = yamldecode(nonsensitive(aws_instance.node["agent-1"].user_data)).hostname == "agent-1"
    error_message = "the node's name"
  }

  assert {
    condition     = aws_instance.node["server-1"].private_ip == "10.0.0.11"
    error_message = "the address that was asked for"
  }

  assert {
    condition     = length(aws_eip.node) == 2 && toset(aws_security_group.nodes.ingress[*].from_port) == toset([0, 22, 80, 443, 6443])
    error_message = "an address for each; 22, 6443, 80 and 443"
  }

  assert {
    condition     = contains(flatten([for rule in aws_security_group.nodes.ingress : coalesce(rule.ipv6_cidr_blocks, [])]), "2001:db8::/32")
    error_message = "a network of IPv6"
  }
}

run "made" {
  command = apply

  assert {
    condition     = output.inventory.schema == 1 && output.inventory.cluster == "edge"
    error_message = "one document"
  }

  assert {
    condition     = output.inventory.nodes["server-1"].role == "server" && output.inventory.nodes["server-1"].image_id == "ami-new"
    error_message = "each node in it"
  }
}

run "a_newer_image_changes_nothing" {
  command = plan

  override_data {
    target = data.aws_ami_ids.ubuntu
    values = { ids = ["ami-old", "ami-new", "ami-newer"] }
  }

  assert {
    condition     = aws_instance.node["server-1"].ami == "ami-new"
    error_message = "the image is fixed when a node is made"
  }
}

run "nobody_may_come_in" {
  command         = plan
  expect_failures = [var.allowed_cidrs]

  variables {
    allowed_cidrs = { ssh = [], api = ["203.0.113.0/24"] }
  }
}

run "no_network" {
  command         = plan
  expect_failures = [var.allowed_cidrs]

  variables {
    allowed_cidrs = { ssh = ["203.0.113.7/24"], api = ["203.0.113.0/24"] }
  }
}

run "the_world_is_a_warning" {
  command         = plan
  expect_failures = [check.open_to_the_world]

  variables {
    allowed_cidrs = { ssh = ["0.0.0.0/0"], api = ["203.0.113.0/24"] }
  }
}

run "the_world_of_ipv6_is_a_warning_too" {
  command         = plan
  expect_failures = [check.open_to_the_world]

  variables {
    allowed_cidrs = { ssh = ["203.0.113.7/32"], api = ["::/0"] }
  }
}

run "what_is_null_is_the_default" {
  command = plan

  variables {
    architecture  = null
    running       = null
    tags          = null
    host_keys     = null
    elastic_ip    = null
    public_ip     = null
    allowed_cidrs = { ssh = ["203.0.113.7/32"], api = ["203.0.113.0/24"], http = null }
  }

  assert {
    condition     = aws_instance.node["server-1"].associate_public_ip_address && length(aws_eip.node) == 0
    error_message = "a public address of the instance's own"
  }
}

run "what_others_build_on" {
  variables {
    vpc_id    = "vpc-mine"
    subnet_id = "subnet-mine"
    key_pair  = "mine"
    public_ip = false
  }

  assert {
    condition = alltrue([
      output.network == { vpc_id = data.aws_vpc.given[0].id, subnet_id = data.aws_subnet.given[0].id },
      output.security_group_id == aws_security_group.nodes.id,
      output.key_name == "mine",
      keys(output.addresses) == ["server-1"],
    ])
    error_message = "the network, the group, the key and the addresses"
  }
}

run "subnet_alone" {
  command         = plan
  expect_failures = [aws_security_group.nodes]

  variables {
    subnet_id = "subnet-mine"
  }
}

run "vpc_alone" {
  command         = plan
  expect_failures = [data.aws_subnet.given]

  variables {
    vpc_id = "vpc-mine"
  }
}

run "subnet_of_another_vpc" {
  command         = plan
  expect_failures = [data.aws_subnet.given]

  variables {
    vpc_id    = "vpc-other"
    subnet_id = "subnet-mine"
  }
}

run "no_image" {
  command         = plan
  expect_failures = [data.aws_ami_ids.ubuntu]

  override_data {
    target = data.aws_ami_ids.ubuntu
    values = { ids = [] }
  }
}

run "no_key" {
  command         = plan
  expect_failures = [aws_key_pair.operator]

  variables {
    public_key = null
  }
}
