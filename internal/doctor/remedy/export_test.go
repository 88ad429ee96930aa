package remedy

// Restricted gives tests the clients' configuration.
var Restricted = restricted
