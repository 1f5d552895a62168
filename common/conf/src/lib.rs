//! Lossless reading and minimal editing of configuration files: INI, shell-style, libvirt-style.
