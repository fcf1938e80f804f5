#!/usr/bin/perl
# Warren's CNI plugin as a runtime calls it: hands the call to the agent of this host as it is, and its answer back.
#
# It decides nothing, and reads of the configuration only which agent to ask. It starts for every container, so it is in
# Perl, which every Debian has, and loads no module: that takes 2 ms, and Python's start alone takes 6.

use strict;

my $SOCKET   = "/run/warren/cni.sock";
my @VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0");
my ($AF_UNIX, $SOCK_STREAM) = (1, 1);

exit main();

sub main {
    local $/;
    local $SIG{PIPE} = "IGNORE";
    my $stdin   = <STDIN> // "";
    my $command = $ENV{CNI_COMMAND} // "";
    my $path    = said("socket", $stdin) || $SOCKET;
    syswrite STDERR, "Warren CNI plugin; for container runtimes. CNI_COMMAND=VERSION tells what it supports.\n"
        if $command eq "";
    my $variables = join "\0", map { "$_=$ENV{$_}" } grep { /\ACNI_/ } sort keys %ENV;
    my $reply = ask($path, pack("N/a*", "$variables\0\0$stdin"));    # its length, then the call
    return printed(substr($reply, 0, 1), substr($reply, 1)) if length($reply // "");
    my $newest = $VERSIONS[-1];
    if ($command eq "VERSION") {
        my $version = said("cniVersion", $stdin) || $newest;
        my $supported = join ",", map { quoted($_) } @VERSIONS;
        return printed(0, "{\"cniVersion\":" . quoted($version) . ",\"supportedVersions\":[$supported]}");
    }
    my ($code, $sentence) = (11, "Warren's agent at $path went away before it had answered; try again.");
    if (!defined $reply) {
        $code = 50 if $command eq "STATUS";
        $sentence = "Warren's agent does not answer at $path ($!); start it and try again.";
    }
    return printed(1, "{\"cniVersion\":\"$newest\",\"code\":$code,\"msg\":" . quoted($sentence) . "}");
}

# What the agent replies; undef, with the reason in $!, when it cannot be asked.
sub ask {
    my ($path, $request) = @_;
    socket(my $agent, $AF_UNIX, $SOCK_STREAM, 0) or return;
    connect($agent, pack("S Z*", $AF_UNIX, $path)) or return;    # struct sockaddr_un of Linux
    while (length $request) {
        my $sent = syswrite($agent, $request) or return;
        substr($request, 0, $sent, "");
    }
    my $reply = "";
    while (my $got = sysread($agent, $reply, 65536, length $reply)) { }
    return $reply;
}

# The first string of this name in a JSON text; what is no string there, the agent refuses.
sub said {
    my ($name, $json) = @_;
    my ($text) = $json =~ /"$name"\s*:\s*"((?:[^"\\]|\\.)*)"/ or return;
    $text =~ s/\\(?:u([0-9a-fA-F]{4})|(.))/$1 ? encoded(hex $1) : $2/ge;
    return $text;
}

sub encoded {
    my $character = chr $_[0];
    utf8::encode($character);
    return $character;
}

sub quoted {
    my ($text) = @_;
    $text =~ s/([\x00-\x1f"\\])/sprintf "\\u%04x", ord $1/ge;
    return "\"$text\"";
}

sub printed {
    my ($code, $text) = @_;
    while (length $text) {
        my $written = syswrite(STDOUT, $text) or last;
        substr($text, 0, $written, "");
    }
    return $code;
}
