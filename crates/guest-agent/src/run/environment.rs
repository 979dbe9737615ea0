//! The variables of a program.

use guest_protocol::EnvVar;

/// Where programs are looked for when an image does not say; Docker's.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in the order in which they were first named; the last value of a name counts.
#[derive(Clone, Default)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Those of a seat: the defaults, the image's, the seat's, and a home where nobody named one.
    pub(super) fn of_seat(hostname: &str, image: &[String], seat: &[EnvVar]) -> Self {
        let mut all = Self::default();
        all.set("PATH", DEFAULT_PATH);
        all.set("HOSTNAME", hostname);
        for pair in image {
            // One without a value is what Docker calls removed.
            match pair.split_once('=') {
                Some((name, value)) => all.set(name, value),
                None => all.0.retain(|(known, _)| known != pair),
            }
        }
        all.add(seat);
        all
    }

    pub(super) fn add(&mut self, variables: &[EnvVar]) {
        for variable in variables {
            self.set(&variable.name, variable.value.expose());
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(super) fn set_if_absent(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_one_counts() {
        let image = ["PATH=/image/bin".to_owned(), "A=image".into(), "B=image=1".into(), "HOSTNAME".into()];
        let seat = [EnvVar::secret("A", "seat"), EnvVar::open("C", "")];
        let mut all = Environment::of_seat("seat-7", &image, &seat);
        all.set_if_absent("HOME", "/root");
        all.set_if_absent("A", "late");
        let all: Vec<_> = all.iter().collect();
        assert_eq!(
            all,
            [("PATH", "/image/bin"), ("A", "seat"), ("B", "image=1"), ("C", ""), ("HOME", "/root")]
        );
        assert_eq!(Environment::of_seat("h", &[], &[]).get("PATH"), Some(DEFAULT_PATH));
    }
}
