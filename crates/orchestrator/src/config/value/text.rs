//! Whatever is written as a string.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::Ipv4Net;
use lifecycle::AllowedImage;
use seats::ImageRef;

use super::{SettingValue, quoted};

/// Types that are written as a string and know how to parse themselves. The last part says what the error adds
/// to the form: what the standard library says adds nothing.
macro_rules! textual {
    ($($kind:ty, $form:literal, $show:expr, $explain:expr;)+) => {$(
        impl SettingValue for $kind {
            fn form() -> String {
                $form.into()
            }

            fn from_text(text: &str) -> Result<Self, String> {
                let explain: fn(<$kind as std::str::FromStr>::Err) -> String = $explain;
                text.parse().map_err(explain)
            }

            fn to_toml(&self) -> Option<String> {
                let show: fn(&$kind) -> String = $show;
                Some(quoted(&show(self)))
            }
        }
    )+};
}

textual! {
    SocketAddr, "an address with a port, such as \"127.0.0.1:8080\"", ToString::to_string, |_| String::new();
    IpAddr, "an IP address such as \"127.0.0.1\"", ToString::to_string, |_| String::new();
    Ipv4Net, "an IPv4 network such as \"10.213.0.0/16\"", ToString::to_string, |_| String::new();
    ImageRef, "an image reference", |image| image.as_str().to_owned(), |error| error.to_string();
    AllowedImage, "an image reference, or the beginning of one with a final '*'", show_allowed, |error| error.to_string();
}

fn show_allowed(allowed: &AllowedImage) -> String {
    match allowed {
        AllowedImage::Exact(image) => image.as_str().to_owned(),
        AllowedImage::Prefix(prefix) => format!("{prefix}*"),
    }
}

impl SettingValue for String {
    fn form() -> String {
        "a text".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            Err("it is not empty".into())
        } else {
            Ok(text.to_owned())
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl SettingValue for PathBuf {
    fn form() -> String {
        "a path".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        String::from_text(text).map(Self::from)
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}
