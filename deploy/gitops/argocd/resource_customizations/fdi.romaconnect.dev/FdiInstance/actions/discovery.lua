-- A suspended instance is still listed, so a reconcile can be requested at any time.
local suspended = obj.spec ~= nil and obj.spec.suspend == true

local actions = {}

actions["reconcile"] = {
  ["iconClass"] = "fa fa-fw fa-redo",
}

actions["suspend"] = {
  ["disabled"] = suspended,
  ["iconClass"] = "fa fa-fw fa-pause-circle",
}

actions["resume"] = {
  ["disabled"] = not suspended,
  ["iconClass"] = "fa fa-fw fa-play-circle",
}

return actions
