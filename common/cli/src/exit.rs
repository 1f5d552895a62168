//! Exit codes: one table a program.

use std::fmt::Debug;

/// A way for a program to end; [`crate::exits!`] makes one.
pub trait Ending: Copy + Ord + Debug + 'static {
    fn code(self) -> u8;

    /// For people, as it stands in `--help` and in the man pages.
    fn title(self) -> &'static str;
}

/// Defines `Exit`, from which the code, `--help`, the man pages and the tests are made.
#[macro_export]
macro_rules! exits {
    ($($name:ident $code:literal $title:literal)*) => {
        /// How the program ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Exit {
            $(#[doc = $title] $name,)*
        }

        impl Exit {
            /// In ascending order of code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn code(self) -> u8 {
                match self { $(Self::$name => $code),* }
            }

            /// For people, as it stands in `--help` and in the man pages.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }

        impl $crate::Ending for Exit {
            fn code(self) -> u8 {
                Exit::code(self)
            }

            fn title(self) -> &'static str {
                Exit::title(self)
            }
        }

        impl From<Exit> for ::std::process::ExitCode {
            fn from(exit: Exit) -> Self {
                Self::from(exit.code())
            }
        }
    };
}
