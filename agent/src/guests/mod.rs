//! Guests: the census from four sources, the watch on each incarnation, and what each guest uses.
