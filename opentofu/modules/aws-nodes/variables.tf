variable "cluster" {
  description = "Name of the cluster: part of the names and tags of everything here."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.cluster))
    error_message = "Use 1 to 63 lower-case letters, digits and dashes."
  }
}

variable "nodes" {
  description = "The instances by name. private_ip fixes the address in the subnet; without it AWS chooses one."
  type = map(object({
    role          = string
    instance_type = optional(string, "t3a.xlarge")
    root_gb       = optional(number, 80)
    private_ip    = optional(string)
  }))
  nullable = false

  validation {
    condition     = alltrue([for node in values(var.nodes) : contains(["server", "agent"], node.role)])
    error_message = "role is server or agent."
  }

  validation {
    condition     = alltrue([for name in keys(var.nodes) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "A node's name becomes its host name: lower-case letters, digits and dashes."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.root_gb >= 8])
    error_message = "root_gb is 8 or more: the image itself needs that much."
  }
}

variable "allowed_cidrs" {
  description = "Who may reach the nodes from outside: ssh (22), api (6443), http (80 and 443). ssh and api must be said."
  type = object({
    ssh  = list(string)
    api  = list(string)
    http = optional(list(string), [])
  })
  nullable = false

  validation {
    condition     = length(var.allowed_cidrs.ssh) > 0 && length(var.allowed_cidrs.api) > 0
    error_message = "Say from where SSH and the API are reached, for example [\"203.0.113.7/32\"]; nothing is open by default."
  }

  validation {
    condition = alltrue([
      for cidr in concat(var.allowed_cidrs.ssh, var.allowed_cidrs.api, var.allowed_cidrs.http) :
      can(cidrhost(cidr, 0)) && try(cidrsubnet(cidr, 0, 0) == cidr, false)
    ])
    error_message = "Each is a network such as 203.0.113.7/32 or 10.0.0.0/8, without bits behind its prefix."
  }
}

variable "public_key" {
  description = "The operator's public SSH key; a key pair is made of it. Either this or key_pair."
  type        = string
  default     = null
}

variable "key_pair" {
  description = "Name of a key pair that exists in the region. Either this or public_key."
  type        = string
  default     = null
}

variable "key_name" {
  description = "What the key pair that is made of public_key is called. Without it a name that begins with the cluster's."
  type        = string
  default     = null
}

variable "host_keys" {
  description = "Private SSH host keys (OpenSSH, ed25519) by node, for the first contact only; replace them afterwards: user data can be read on the instance. A node without one makes its own."
  type        = map(string)
  default     = {}
  sensitive   = true
  nullable    = false
}

variable "architecture" {
  description = "amd64 or arm64; must fit the instance types."
  type        = string
  default     = "amd64"
  nullable    = false

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "amd64 or arm64."
  }
}

variable "image_id" {
  description = "An AMI of your own. Without it the newest Ubuntu 24.04 of Canonical, as it is when a node is made."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "A VPC that exists; needs subnet_id. Without both the region's default VPC is used."
  type        = string
  default     = null
}

variable "subnet_id" {
  description = "A subnet of that VPC."
  type        = string
  default     = null
}

variable "running" {
  description = "Names of nodes that are started if they were stopped. Keep a name once it is here."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "elastic_ip" {
  description = "Give each node an Elastic IP. Without one a stop and start changes the public address."
  type        = bool
  default     = false
  nullable    = false
}

variable "public_ip" {
  description = "Give each node a public address at all. false: reach the nodes over a VPN, or from inside."
  type        = bool
  default     = true
  nullable    = false
}

variable "tags" {
  description = "Further tags of everything here."
  type        = map(string)
  default     = {}
  nullable    = false
}
