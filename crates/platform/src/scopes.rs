//! What an admin token may do.

use std::fmt;

use serde::{Serialize, Serializer};

/// One thing that a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything that is no secret.
    Read,
    /// Start and stop streams, make and revoke stream keys.
    Publish,
    /// Everything, the above included.
    Admin,
}

impl Scope {
    /// All of them, narrowest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Publish, Self::Admin];

    /// The word that is stored and typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Admin => "admin",
        }
    }

    /// The scope of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    /// Whether the set lets its token do this: `admin` lets it do everything.
    pub fn allows(self, scope: Scope) -> bool {
        self.has(Scope::Admin) || self.has(scope)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in it, narrowest first.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.has(*scope))
    }

    fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | (1 << scope as u8)))
    }
}

/// The words with one space between, as they are stored.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// As stored. A word that this program does not know gives no right.
impl From<String> for Scopes {
    fn from(stored: String) -> Self {
        stored.split(' ').filter_map(Scope::parse).collect()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_allows_everything_and_the_others_themselves() {
        for (stored, allowed) in [
            ("read", [true, false, false]),
            ("publish", [false, true, false]),
            ("read publish", [true, true, false]),
            ("admin", [true, true, true]),
            ("", [false, false, false]),
            ("later", [false, false, false]),
        ] {
            let scopes = Scopes::from(stored.to_owned());
            assert_eq!(Scope::ALL.map(|scope| scopes.allows(scope)), allowed, "{stored}");
        }
        assert_eq!(Scopes::ALL.to_string(), "read publish admin");
    }
}
