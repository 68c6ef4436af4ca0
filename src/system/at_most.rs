//! JSON lists of peers: one that is too long is refused before it takes memory.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};

/// A list of at most `N` elements. A short text can hold many elements, each of which takes several times its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtMost<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
            type Value = AtMost<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    if list.len() == N {
                        return Err(A::Error::custom(format!("the list has more than {N} elements")));
                    }
                    list.push(element);
                }
                Ok(AtMost(list))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_list_is_refused() {
        let read = |text| serde_json::from_str::<AtMost<u8, 2>>(text).map_err(|error| error.to_string());
        assert_eq!(read("[]"), Ok(AtMost(vec![])));
        assert_eq!(read("[1, 2]"), Ok(AtMost(vec![1, 2])));
        assert!(read("[1, 2, 3]").unwrap_err().starts_with("the list has more than 2 elements"));
        assert!(read("{}").unwrap_err().contains("expected a list of at most 2 elements"));
    }
}
