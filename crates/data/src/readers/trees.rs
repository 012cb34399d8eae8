//! The Stanford Sentiment Treebank: binary trees in the Penn Treebank's
//! brackets with a sentiment from 0 to 4 at every node.

use std::collections::HashSet;

use super::rows::{Reason, Rows};
use super::{FIVE, NEGATIVE, NEUTRAL, POSITIVE};
use crate::error::Result;

/// How deep a tree may be. The deepest of the treebank is not a tenth of it.
const MAX_DEPTH: usize = 512;

/// Reads one tree a line: its sentence, or with `phrases` each of its phrases,
/// the sentence first.
///
/// A phrase that stands in several places is one example, with the sentiment
/// of its first place; in the treebank itself all places agree. Sentences are
/// never merged.
pub(super) fn read(rows: &mut Rows) -> Result<()> {
    let options = rows.options;
    let mut seen = HashSet::new();
    rows.each_line(|rows, number, line| {
        let tree = match Tree::parse(&line) {
            Ok(tree) => tree,
            Err(message) => return rows.refuse_line(Reason::Broken, number, message),
        };
        let nodes = if options.phrases {
            &tree.nodes[..]
        } else {
            &tree.nodes[..1]
        };
        for node in nodes {
            let text = tree.words[node.first..node.end].join(" ");
            if let Some(label) = label(node.sentiment, options.classes)
                && !(options.phrases && seen.contains(&text))
            {
                rows.add(number, &text, label)?;
            }
            if options.phrases {
                seen.insert(text);
            }
        }
        Ok(())
    })
}

/// The name of a sentiment among so many classes; none for a neutral one
/// among two.
fn label(sentiment: u8, classes: u32) -> Option<&'static str> {
    match (classes, sentiment) {
        (5, _) => Some(FIVE[usize::from(sentiment)]),
        (_, 0 | 1) => Some(NEGATIVE),
        (2, 2) => None,
        (_, 2) => Some(NEUTRAL),
        _ => Some(POSITIVE),
    }
}

/// A tree as a list of its nodes.
#[derive(Debug, PartialEq)]
struct Tree {
    /// The leaves from left to right, with the treebank's escapes undone.
    words: Vec<String>,
    /// Every node, parents before their children; the root is the first.
    nodes: Vec<Node>,
}

/// A node and the words below it, `first..end`.
#[derive(Debug, PartialEq)]
struct Node {
    sentiment: u8,
    first: usize,
    end: usize,
}

impl Tree {
    /// Reads `(3 (2 It) (4 (2 's) (4 good)))`, or says what is wrong. Depth
    /// costs no stack.
    fn parse(line: &str) -> Result<Self, String> {
        let mut tree = Tree {
            words: Vec::new(),
            nodes: Vec::new(),
        };
        // The nodes that are open, by their place, and whether each is a leaf.
        let mut open: Vec<(usize, bool)> = Vec::new();
        let mut rest = line.trim_matches(' ');
        while !rest.is_empty() {
            if open.is_empty() && !tree.nodes.is_empty() {
                return Err("has more behind the end of its tree".into());
            }
            if let Some(inside) = rest.strip_prefix('(') {
                if let Some((_, true)) = open.last() {
                    return Err("has a node with a word and a branch".into());
                }
                if open.len() == MAX_DEPTH {
                    return Err(format!("is deeper than {MAX_DEPTH} brackets"));
                }
                let (sentiment, behind) = token(inside.trim_start_matches(' '));
                let [digit @ b'0'..=b'4'] = *sentiment.as_bytes() else {
                    return Err(format!(
                        "has the sentiment {sentiment:?}, not one from 0 to 4"
                    ));
                };
                open.push((tree.nodes.len(), false));
                let first = tree.words.len();
                tree.nodes.push(Node {
                    sentiment: digit - b'0',
                    first,
                    end: first,
                });
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix(')') {
                let Some((node, _)) = open.pop() else {
                    return Err("begins with a closing bracket".into());
                };
                let node = &mut tree.nodes[node];
                node.end = tree.words.len();
                if node.first == node.end {
                    return Err("has a node without a word".into());
                }
                rest = behind;
            } else {
                let (word, behind) = token(rest);
                match open.last_mut() {
                    None => return Err("does not begin with a bracket".into()),
                    Some((node, leaf)) if !*leaf && tree.nodes[*node].first == tree.words.len() => {
                        *leaf = true;
                    }
                    Some(_) => {
                        return Err(format!("has the word {word:?} beside another or a branch"));
                    }
                }
                tree.words.push(unescape(word));
                rest = behind;
            }
            rest = rest.trim_start_matches(' ');
        }
        match (tree.nodes.is_empty(), open.len()) {
            (true, _) => Err("is empty, not a tree".into()),
            (false, 0) => Ok(tree),
            (false, missing) => Err(format!("lacks {missing} closing brackets")),
        }
    }
}

/// What stands before the next space or bracket, and the rest.
fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', '(', ')']).unwrap_or(text.len()))
}

/// The Penn Treebank's escapes undone.
fn unescape(word: &str) -> String {
    match word {
        "-LRB-" => "(".into(),
        "-RRB-" => ")".into(),
        "-LSB-" => "[".into(),
        "-RSB-" => "]".into(),
        "-LCB-" => "{".into(),
        "-RCB-" => "}".into(),
        _ => word.replace("\\/", "/").replace("\\*", "*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tree_is_its_nodes_from_the_root() {
        let tree = Tree::parse("(3 (2 It) (4 (2 's) (4 good)))").unwrap();
        assert_eq!(tree.words, ["It", "'s", "good"]);
        let nodes: Vec<_> = tree
            .nodes
            .iter()
            .map(|n| (n.sentiment, n.first, n.end))
            .collect();
        assert_eq!(
            nodes,
            [(3, 0, 3), (2, 0, 1), (4, 1, 3), (2, 1, 2), (4, 2, 3)]
        );
        assert_eq!(
            Tree::parse(" ( 3(2 It)(4 (2 's)(4 good) ) ) ").unwrap(),
            tree
        );
    }

    #[test]
    fn escapes_are_undone() {
        let tree = Tree::parse(r"(2 (2 -LRB-) (2 (2 -RSB-) (2 (2 1\/2) (2 f\*\*k))))").unwrap();
        assert_eq!(tree.words, ["(", "]", "1/2", "f**k"]);
    }

    #[test]
    fn malformed_trees_are_named() {
        for (line, expected) in [
            ("", "is empty"),
            ("word", "does not begin with a bracket"),
            (")", "begins with a closing bracket"),
            ("(2 a", "lacks 1 closing"),
            ("(2 (2 a) (2 b)", "lacks 1 closing"),
            ("(2 a))", "more behind the end"),
            ("(2 a) (2 b)", "more behind the end"),
            ("()", "the sentiment \"\""),
            ("(5 a)", "the sentiment \"5\""),
            ("(22 a)", "the sentiment \"22\""),
            ("(x a)", "the sentiment \"x\""),
            ("(2)", "without a word"),
            ("(2 (2 a) (2))", "without a word"),
            ("(2 a b)", "the word \"b\" beside"),
            ("(2 (2 a) b)", "the word \"b\" beside"),
            ("(2 a (2 b))", "a word and a branch"),
        ] {
            let message = Tree::parse(line).unwrap_err();
            assert!(message.contains(expected), "{line:?}: {message}");
        }
    }

    #[test]
    fn depth_is_limited_and_costs_no_stack() {
        let chain =
            |depth: usize| format!("{}(2 a){}", "(2 ".repeat(depth - 1), ")".repeat(depth - 1));
        assert_eq!(
            Tree::parse(&chain(MAX_DEPTH)).unwrap().nodes.len(),
            MAX_DEPTH
        );
        for line in [chain(MAX_DEPTH + 1), "(2 ".repeat(1_000_000)] {
            assert!(Tree::parse(&line).unwrap_err().contains("deeper than 512"));
        }
        assert!(Tree::parse(&"(".repeat(1_000_000)).is_err());
        assert!(Tree::parse(&")".repeat(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn brackets_and_words_in_any_order_never_panic(line in r"[()0-5a\\/é -]{0,40}") {
            if let Ok(tree) = Tree::parse(&line) {
                prop_assert!(tree.nodes.iter().all(|node| node.first < node.end));
                prop_assert_eq!(tree.nodes[0].end, tree.words.len());
            }
        }
    }
}
