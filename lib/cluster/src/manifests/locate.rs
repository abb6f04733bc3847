//! From the path of a field to the line that it is on.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The line of `text`, from 1, on which `path` is, or what of it exists: a field that is missing is
/// on the line of the object that misses it.
pub(super) fn line(text: &str, path: &str) -> Option<u64> {
    let tree: Spanned<Tree> = serde_saphyr::from_str(text).ok()?;
    let mut found = &tree;
    let mut line = tree.referenced.line();
    for segment in segments(path) {
        let child = match &found.value {
            Tree::Map(entries) => entries.iter().find(|(key, _)| key.value == segment),
            Tree::List(members) => {
                let member = segment.parse().ok().and_then(|at: usize| members.get(at));
                let Some(member) = member else { break };
                found = member;
                line = member.referenced.line();
                continue;
            }
            Tree::Leaf => None,
        };
        let Some((key, value)) = child else { break };
        found = value;
        line = key.referenced.line();
    }
    Some(line).filter(|line| *line > 0)
}

/// `spec.rules[0].host` and `metadata.annotations[a.b/c]`, part by part.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return None;
        }
        let (segment, after) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        Some(segment)
    })
}

/// The shape of a document, with the place of everything.
enum Tree {
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
    List(Vec<Spanned<Self>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = list.next_element()? {
            members.push(member);
        }
        Ok(Tree::List(members))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_line_or_as_far_as_it_goes() {
        let text = "kind: Ingress\nmetadata:\n  annotations:\n    a.b/c: x\nspec:\n  rules:\n  - host: a\n  - host: b\n    http: {paths: [{path: /}]}\n";
        for (path, want) in [
            ("kind", 1),
            ("metadata.annotations[a.b/c]", 4),
            ("spec", 5),
            ("spec.rules[1].host", 8),
            ("spec.rules[1]", 8),
            ("spec.rules[1].http.paths[0].pathType", 9),
            ("spec.rules[7].host", 6),
            ("spec.tls[0].secretName", 5),
            ("", 1),
        ] {
            assert_eq!(line(text, path), Some(want), "{path}");
        }
        assert_eq!(line("a: [", "a"), None);
    }
}
