//! Label selectors of the Kubernetes API, as NetworkPolicies use them for pods and namespaces.

use std::collections::BTreeMap;

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// Which objects are meant: all that satisfy every label and every requirement; all objects if there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// Labels that must be there with just these values.
    pub labels: Labels,
    /// What else must hold.
    pub requirements: Vec<Requirement>,
}

/// One of a selector's `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must be true of its value.
    pub operator: Operator,
}

/// What is asked of the label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// It is there and has one of these values.
    In(Vec<String>),
    /// It is absent or has none of these values.
    NotIn(Vec<String>),
    /// It is there, whatever its value.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            // An object without the label satisfies NotIn: the API defines it as the negation of In.
            Operator::NotIn(unwanted) => value.is_none_or(|value| !unwanted.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &[(&str, &str)]) -> Labels {
        text.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn operators_follow_the_api() {
        let values = || vec!["a".to_owned(), "b".to_owned()];
        // Columns: the label is `a`, is `c`, is absent.
        let table = [
            (Operator::In(values()), [true, false, false]),
            (Operator::NotIn(values()), [false, true, true]),
            (Operator::Exists, [true, true, false]),
            (Operator::DoesNotExist, [false, false, true]),
        ];
        let objects = [
            labels(&[("tier", "a")]),
            labels(&[("tier", "c")]),
            labels(&[("other", "a")]),
        ];
        for (operator, expected) in table {
            let requirement = Requirement {
                key: "tier".to_owned(),
                operator,
            };
            let selector = Selector {
                requirements: vec![requirement],
                ..Selector::default()
            };
            let found = [0, 1, 2].map(|index: usize| selector.matches(&objects[index]));
            assert_eq!(found, expected, "{selector:?}");
        }
    }

    #[test]
    fn every_part_must_hold_and_an_empty_selector_means_all() {
        let exists = Requirement {
            key: "tier".to_owned(),
            operator: Operator::Exists,
        };
        let both = Selector {
            labels: labels(&[("app", "web")]),
            requirements: vec![exists],
        };
        assert!(both.matches(&labels(&[("app", "web"), ("tier", "a")])));
        assert!(!both.matches(&labels(&[("app", "web")])));
        assert!(!both.matches(&labels(&[("app", "db"), ("tier", "a")])));
        assert!(Selector::default().matches(&Labels::new()));
    }
}
