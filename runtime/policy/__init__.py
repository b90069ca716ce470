"""Policies at work: where they come from, plug-ins and Rego, approvals, and what they say of a plan. Rules themselves are pure and in
`compiler/policy`."""
