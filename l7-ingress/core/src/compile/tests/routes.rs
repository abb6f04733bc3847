//! Which route answers.

use super::world::{World, ingress, rule, service};

#[test]
fn a_path_of_a_host_leads_to_its_service() {
    let world = World::new(
        &[
            service("web"),
            ingress("a", 1, &rule("foo.com", &["Prefix /a web"])),
        ]
        .concat(),
    );
    world.check(&[
        ("http://foo.com/a", "web"),
        ("http://foo.com/a/b", "web"),
        ("http://foo.com/ab", "404"),
        ("http://bar.com/a", "404"),
    ]);
    world.check_problems(&[]);
}
