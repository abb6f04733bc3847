//! `path_rules.feature`

use super::World;
use crate::harness::ingress;

#[tokio::test]
async fn path_rules() {
    let rules = [
        "exact-path-rules Exact /foo foo-exact",
        "prefix-path-rules Prefix /foo foo-prefix",
        "prefix-path-rules Prefix /aaa/bbb aaa-slash-bbb-prefix",
        "prefix-path-rules Prefix /aaa aaa-prefix",
        "mixed-path-rules Prefix /foo foo-prefix",
        "mixed-path-rules Exact /foo foo-exact",
        "trailing-slash-path-rules Prefix /aaa/bbb/ aaa-slash-bbb-slash-prefix",
        "trailing-slash-path-rules Exact /foo/ foo-slash-exact",
    ];
    let services = [
        "foo-exact",
        "foo-prefix",
        "aaa-prefix",
        "aaa-slash-bbb-prefix",
        "aaa-slash-bbb-slash-prefix",
        "foo-slash-exact",
    ];
    let world = World::start(&services, ingress("path-rules", &rules)).await;
    world.status_is_written("path-rules").await;
    for (url, expect) in [
        // Exact
        ("http://exact-path-rules/foo", "foo-exact"),
        ("http://exact-path-rules/foo/", "404"),
        ("http://exact-path-rules/FOO", "404"),
        ("http://exact-path-rules/bar", "404"),
        // Prefix
        ("http://prefix-path-rules/foo", "foo-prefix"),
        ("http://prefix-path-rules/foo/", "foo-prefix"),
        ("http://prefix-path-rules/FOO", "404"),
        ("http://prefix-path-rules/aaa/bbb", "aaa-slash-bbb-prefix"),
        (
            "http://prefix-path-rules/aaa/bbb/ccc",
            "aaa-slash-bbb-prefix",
        ),
        ("http://prefix-path-rules/aaa/ccc", "aaa-prefix"),
        ("http://prefix-path-rules/aaaccc", "404"),
        ("http://prefix-path-rules/foo/", "foo-prefix"),
        // mixed
        ("http://mixed-path-rules/foo", "foo-exact"),
        // trailing slash
        (
            "http://trailing-slash-path-rules/aaa/bbb",
            "aaa-slash-bbb-slash-prefix",
        ),
        (
            "http://trailing-slash-path-rules/aaa/bbb/",
            "aaa-slash-bbb-slash-prefix",
        ),
        ("http://trailing-slash-path-rules/foo", "404"),
    ] {
        world.check(url, expect).await;
    }
}
