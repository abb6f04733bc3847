//! Pod networking, done: the parts that the plugin `penstock-cni` and the agent `cni-agent` are made of.
